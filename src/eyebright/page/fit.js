// Where a model looks: `from` is the part of the image that it takes in, and `to` where that lies in the model's own
// frame. As eyebright.data.decode.fit has it.
export function looked(model, image) {
  const whole = { left: 0, top: 0, width: image.width, height: image.height };
  const frame = { left: 0, top: 0, width: model.width, height: model.height };
  const [across, down] = [model.width / image.width, model.height / image.height];
  if (model.resize === "squash") return { from: whole, to: frame };
  if (model.resize === "crop") {
    const scale = Math.max(across, down);
    return { from: middle(image, model.width / scale, model.height / scale), to: frame };
  }
  const scale = Math.min(across, down);
  const side = (length) => Math.max(1, Math.round(length * scale));
  const to = middle(model, side(image.width), side(image.height));
  return { from: whole, to: { ...to, left: Math.floor(to.left), top: Math.floor(to.top) } };
}

function middle(outer, width, height) {
  return { left: (outer.width - width) / 2, top: (outer.height - height) / 2, width, height };
}
