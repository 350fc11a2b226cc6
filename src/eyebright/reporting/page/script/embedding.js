// The map: the pointer or the arrow keys find an image, a click or Enter opens it.
{
  const plot = byId("map");
  if (plot && data.embedding) {
    const svg = plot.querySelector("svg");
    const { of, places } = data.embedding;
    const found = svg.querySelector(".found");
    const tip = byId("map-tip");
    const picked = new Set(); // classes that are shown alone; none is all
    let current = -1; // place in `of`

    const shown = (place) => {
      const number = of[place];
      if (number < 0) return false;
      if (byId("map-errors").checked && right(number)) return false;
      return picked.size === 0 || picked.has(images.given[number]);
    };
    const point = (place) => [places[2 * place], places[2 * place + 1]];
    const inDrawing = (event) => {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale, scale];
    };
    // The nearest shown image by a measure of (dx, dy); null leaves a point out.
    const nearest = (x, y, measure) => {
      let best = -1;
      let least = Infinity;
      for (let place = 0; place < of.length; place += 1) {
        const [px, py] = point(place);
        const distance = measure(px - x, py - y);
        if (distance !== null && distance < least && shown(place)) [best, least] = [place, distance];
      }
      return best;
    };
    const pointAt = (place) => {
      current = place;
      tip.hidden = place < 0;
      found.setAttribute("cx", place < 0 ? -20 : point(place)[0]);
      found.setAttribute("cy", place < 0 ? -20 : point(place)[1]);
      if (place < 0) return;
      const number = of[place];
      drawImage(tip.querySelector("canvas"), number, 96, false);
      tip.querySelector("p").textContent = `${said(number)}, ${sure(confidence(number))}`;
      const share = point(place).map((value, axis) => value / (axis ? svg.viewBox.baseVal.height : svg.viewBox.baseVal.width));
      tip.style.left = `${100 * share[0]}%`;
      tip.style.top = `${100 * share[1]}%`;
      tip.dataset.side = `${share[1] < 0.35 ? "below" : "above"} ${share[0] < 0.2 ? "start" : share[0] > 0.8 ? "end" : "middle"}`;
    };
    const open = () => { if (current >= 0) openDetail([of[current]], 0); };

    const pointTo = (event) => {
      const [x, y, scale] = inDrawing(event);
      const reach = (14 * scale) ** 2; // pixels around the pointer
      pointAt(nearest(x, y, (dx, dy) => { const d = dx * dx + dy * dy; return d <= reach ? d : null; }));
    };
    svg.addEventListener("pointermove", pointTo);
    svg.addEventListener("pointerleave", () => pointAt(-1));
    svg.addEventListener("click", (event) => { pointTo(event); open(); }); // a finger does not hover first
    plot.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); open(); return; }
      const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
      if (!way) return;
      event.preventDefault();
      const { width, height } = svg.viewBox.baseVal;
      if (current < 0) { pointAt(nearest(width / 2, height / 2, (dx, dy) => dx * dx + dy * dy)); return; }
      const [x, y] = point(current);
      const next = nearest(x, y, (dx, dy) => {
        const along = dx * way[0] + dy * way[1];
        const across = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
        return along > 0.05 && across <= 2 * along ? along + across : null;
      });
      if (next >= 0) pointAt(next);
    });
    plot.addEventListener("blur", () => pointAt(-1));

    const refresh = () => {
      const errors = byId("map-errors").checked;
      svg.classList.toggle("errors-only", errors);
      svg.classList.toggle("picked", picked.size > 0);
      for (const part of svg.querySelectorAll("[data-class]")) part.classList.toggle("on", picked.has(Number(part.dataset.class)));
      const visible = of.filter((_, place) => shown(place)).length;
      byId("map-status").textContent = `${plural(visible, "image", "images")} shown.`;
      pointAt(-1);
    };
    for (const button of byId("map-classes").querySelectorAll("button")) {
      button.addEventListener("click", () => {
        const position = Number(button.dataset.class);
        if (!picked.delete(position)) picked.add(position);
        button.setAttribute("aria-pressed", String(picked.has(position)));
        refresh();
      });
    }
    byId("map-errors").addEventListener("change", refresh);
    refresh();
  }
}
