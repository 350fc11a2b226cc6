// Thumbnails are tiles of a few large pictures, which are decoded when they are first asked for.
function spriteOf(laid) {
  const sheets = new Map();
  const sheet = (place) => {
    if (!sheets.has(place)) {
      const picture = new Image();
      picture.src = laid.sheets[place];
      sheets.set(place, picture.decode().then(() => picture));
    }
    return sheets.get(place);
  };
  // The tile in a canvas whose pixels are a whole multiple of the image's, so that small images stay sharp.
  const draw = async (canvas, number, edge, after) => {
    const factor = Math.max(1, Math.round(edge / Math.max(laid.width, laid.height)));
    canvas.width = laid.width * factor;
    canvas.height = laid.height * factor;
    canvas.classList.toggle("pixels", factor > 1);
    const wanted = String(number);
    canvas.dataset.tile = wanted;
    const picture = await sheet(Math.floor(number / laid.per_sheet));
    if (canvas.dataset.tile !== wanted) return; // it shows another image by now
    const place = number % laid.per_sheet;
    const x = (place % laid.columns) * laid.width;
    const y = Math.floor(place / laid.columns) * laid.height;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, x, y, laid.width, laid.height, 0, 0, canvas.width, canvas.height);
    if (after) after(canvas, context);
  };
  return { draw };
}

const gallerySprite = images ? spriteOf(images.sprite) : null;
const nearestSprite = data.nearest ? spriteOf(data.nearest.sprite) : null;

// Where the model looked: a veil over the rest of the image, and a warm light on what it looked at. The difference
// is one of brightness first, so that it is seen with any kind of colour vision.
const maps = new Map(); // number of an image -> its place among the maps
const mapBytes = data.maps ? bytes(data.maps.bytes) : null;
if (data.maps) data.maps.of.forEach((number, place) => maps.set(number, place));

function layMap(number) {
  const place = maps.get(number);
  if (place === undefined) return null;
  const { width, height } = data.maps;
  return (canvas, context) => {
    const small = element("canvas", { width, height });
    const pen = small.getContext("2d");
    const veil = pen.createImageData(width, height);
    for (let i = 0; i < width * height; i += 1) {
      const light = mapBytes[place * width * height + i] / 255;
      const [r, g, b] = light < 0.5 ? [8, 12, 24] : [255, 186, 56];
      const alpha = light < 0.5 ? 0.8 * (1 - 2 * light) : 0.5 * (2 * light - 1);
      veil.data.set([r, g, b, Math.round(255 * alpha)], 4 * i);
    }
    pen.putImageData(veil, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
  };
}

const drawImage = (canvas, number, edge, withMap) =>
  gallerySprite.draw(canvas, number, edge, withMap ? layMap(number) : null);

// One tab stop for many things in a row; the arrow keys go from one to the next.
function rove(container, selector) {
  const all = () => [...container.querySelectorAll(selector)];
  container.addEventListener("focusin", (event) => {
    const target = event.target.closest(selector);
    if (target) for (const each of all()) each.tabIndex = each === target ? 0 : -1;
  });
  container.addEventListener("keydown", (event) => {
    const here = event.target.closest(selector);
    if (!here || event.ctrlKey || event.altKey || event.metaKey) return;
    const found = all();
    const place = found.indexOf(here);
    const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: found.length - 1 }[event.key]
      ?? beside(found, here, event.key);
    if (next === undefined) return;
    event.preventDefault();
    if (found[next]) found[next].focus();
  });
}

// The place of the nearest element above or below, by where they are drawn.
function beside(found, here, key) {
  if (key !== "ArrowUp" && key !== "ArrowDown") return undefined;
  const down = key === "ArrowDown" ? 1 : -1;
  const from = here.getBoundingClientRect();
  let best = -1;
  let least = Infinity;
  found.forEach((each, place) => {
    const to = each.getBoundingClientRect();
    const rows = down * (to.top - from.top);
    if (rows <= from.height / 2) return;
    const distance = rows + 3 * Math.abs(to.left - from.left);
    if (distance < least) [best, least] = [place, distance];
  });
  return best;
}
