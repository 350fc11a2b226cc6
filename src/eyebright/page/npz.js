// Reading numpy's .npz, a zip of .npy: numpy.lib.format, and APPNOTE.TXT of the zip format.
const TYPES = {
  "|u1": (buffer) => new Uint8Array(buffer),
  "<f2": (buffer) => Float32Array.from(new Uint16Array(buffer), half),
  "<f4": (buffer) => new Float32Array(buffer),
  "<i8": (buffer) => Array.from(new BigInt64Array(buffer), Number),
};
const END_BYTES = 22; // of the record at the end of a zip without a comment

// The arrays by name, each as { shape, data }.
export async function readNpz(buffer) {
  const view = new DataView(buffer);
  const end = buffer.byteLength - END_BYTES;
  const arrays = {};
  let at = view.getUint32(end + 16, true); // the directory
  for (let left = view.getUint16(end + 10, true); left; left -= 1) {
    const [name, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const file = new TextDecoder().decode(new Uint8Array(buffer, at + 46, name));
    const local = view.getUint32(at + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const packed = new Blob([buffer.slice(start, start + view.getUint32(at + 20, true))]);
    const deflated = view.getUint16(at + 10, true) === 8;
    const content = deflated ? packed.stream().pipeThrough(new DecompressionStream("deflate-raw")) : packed.stream();
    arrays[file.replace(/\.npy$/, "")] = readNpy(await new Response(content).arrayBuffer());
    at += 46 + name + extra + comment;
  }
  return arrays;
}

function readNpy(buffer) {
  const view = new DataView(buffer);
  const [length, begin] = view.getUint8(6) === 1 ? [view.getUint16(8, true), 10] : [view.getUint32(8, true), 12];
  const header = new TextDecoder().decode(new Uint8Array(buffer, begin, length));
  const [, type] = header.match(/'descr': '([^']+)'/);
  const [, sides] = header.match(/'shape': \(([^)]*)\)/);
  return { shape: sides.split(",").filter((side) => side.trim()).map(Number), data: TYPES[type](buffer.slice(begin + length)) };
}

// A float16, given as its 16 bits.
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}
