// What in an image speaks for a class; the same as eyebright.exporting.explanation, which says where it is from.
const SQUARES = 4; // side by side; they overlap by half
const ROUNDING = 1e-5; // of the largest value of a map: what differs by less is the same everywhere
const AT_ONCE = 8; // views that are computed together

// By how much the score falls where a square is hidden under the mean colour, (height, width).
// `score` takes uint8 views and how many they are, and gives a number for each.
export async function occlusion({ height, width, data }, mean, score) {
  const squares = slices(height).flatMap((rows) => slices(width).map((columns) => ({ rows, columns })));
  const [whole] = await score(data, 1);
  const falls = new Float32Array(height * width); // summed over the squares that hide a pixel
  const times = new Float32Array(height * width);
  for (let start = 0; start < squares.length; start += AT_ONCE) {
    const some = squares.slice(start, start + AT_ONCE);
    const views = new Uint8Array(some.length * data.length);
    some.forEach((square, number) => hide(views.subarray(number * data.length, (number + 1) * data.length), data, width, square, mean));
    const left = await score(views, some.length);
    some.forEach((square, number) => each(square, width, (place) => {
      falls[place] += whole - left[number];
      times[place] += 1;
    }));
  }
  return falls.map((fall, place) => fall / times[place]);
}

// A map of any size to (height, width), from 0 to 1: the part that speaks for the class; 0 where there is none.
export function scaled(raw, rawHeight, rawWidth, height, width) {
  const positive = raw.map((value) => Math.max(value, 0));
  const enlarged = bilinear(positive, rawHeight, rawWidth, height, width);
  const least = smallest(enlarged);
  const above = enlarged.map((value) => value - least);
  const largest = above.reduce((a, b) => Math.max(a, b), 0);
  const size = raw.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  return above.map((value) => (largest > ROUNDING * size ? value / largest : 0));
}

function smallest(values) { return values.reduce((a, b) => Math.min(a, b), Infinity); }

function bilinear(values, rawHeight, rawWidth, height, width) {
  const rows = places(rawHeight, height);
  const columns = places(rawWidth, width);
  const made = new Float32Array(height * width);
  rows.forEach(([top, bottom, down], y) => columns.forEach(([left, right, across], x) => {
    const value = (row, column) => values[row * rawWidth + column];
    const upper = value(top, left) * (1 - across) + value(top, right) * across;
    const lower = value(bottom, left) * (1 - across) + value(bottom, right) * across;
    made[y * width + x] = upper * (1 - down) + lower * down;
  }));
  return made;
}

// For each pixel that comes out: the two that go in, and the share of the second.
function places(from, to) {
  return Array.from({ length: to }, (_, place) => {
    const at = Math.min(Math.max(((place + 0.5) * from) / to - 0.5, 0), from - 1);
    const below = Math.floor(at);
    return [below, Math.min(below + 1, from - 1), at - below];
  });
}

function slices(length) {
  const edge = Math.max(1, Math.round(length / SQUARES));
  const last = length - edge;
  const found = [];
  for (let start = 0; start < last; start += Math.max(1, Math.floor(edge / 2))) found.push([start, start + edge]);
  return [...found, [last, length]];
}

function hide(view, data, width, square, mean) {
  view.set(data);
  const colour = mean.map((value) => Math.round(255 * value));
  each(square, width, (place) => view.set(colour, place * mean.length));
}

function each({ rows: [top, bottom], columns: [left, right] }, width, act) {
  for (let row = top; row < bottom; row += 1) for (let column = left; column < right; column += 1) act(row * width + column);
}
