// The map over the image that is shown: what in it speaks for a class.
import { byId } from "./elements.js";
import { drawHeat } from "./heat.js";

export class MapPanel {
  // `find(item, label)` asks for a map; `changed()` is told when the reader switches maps on or off.
  constructor(find, changed) {
    this.find = find;
    byId("map-on").addEventListener("change", () => changed());
    byId("map-strength").addEventListener("input", () => this.strengthen());
    this.strengthen();
  }

  get on() { return byId("map-on").checked && !byId("picture").hidden; }

  // Show the map of an image's label, or none; `model` says which part of the image it saw.
  show(item, model) {
    this.item = item;
    this.model = model;
    const shown = this.on && Boolean(item.answer);
    byId("map-controls").hidden = !item.answer || byId("picture").hidden;
    byId("map-more").hidden = !shown;
    const map = shown ? this.mapOf(item) : {};
    const drawn = Boolean(map.heat && byId("picture").complete);
    byId("frame").classList.toggle("mapped", drawn);
    byId("map").hidden = !drawn;
    if (shown) byId("map-note").textContent = drawn ? this.draw(map) : map.note ?? "";
  }

  // { heat } of the item's label, or { note } where there is none yet.
  mapOf(item) {
    const { maps, label } = item;
    if (!maps.has(label)) {
      maps.set(label, { note: `Looking for what speaks for “${label}”.` });
      this.fetch(item, label);
    }
    return maps.get(label);
  }

  async fetch(item, label) {
    const { maps } = item; // another model begins others
    try {
      maps.set(label, await this.find(item, label));
    } catch (problem) {
      maps.set(label, { note: `${problem.title}. ${problem.remedy}` });
      setTimeout(() => maps.delete(label)); // the next look is another try
    }
    if (this.item === item && maps === item.maps) this.show(item, this.model);
  }

  draw(map) {
    const { naturalWidth: width, naturalHeight: height } = byId("picture");
    const cut = drawHeat(byId("map"), { width, height }, this.model, map);
    const note = map.heat.some((value) => value > 0)
      ? `Bright is what speaks for “${map.label}”. Choose another class to see what speaks for it.`
      : `Nothing in particular speaks for “${map.label}”.`;
    return cut ? `${note} It does not see the dark edges.` : note;
  }

  strengthen() { byId("map").style.opacity = byId("map-strength").value / 100; }
}
