// The painter's computations, independent of the page: PNG coding, discs, fills, undo steps, colours.
// Label maps are Uint8Array(width * height), row by row; 255 means unpainted.
const UNPAINTED = 255;
const PNG_PREFIX = "data:image/png;base64,";
const PNG_MAGIC = [137, 80, 78, 71, 13, 10, 26, 10];
const HEAT = [[0, 28, 16, 68], [0.35, 122, 36, 108], [0.65, 226, 88, 58], [0.85, 248, 170, 44], [1, 252, 246, 170]];

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function adler32(bytes) {
  let a = 1, b = 0;
  for (const byte of bytes) { a = (a + byte) % 65521; b = (b + a) % 65521; }
  return ((b << 16) | a) >>> 0;
}

// zlib with fixed Huffman codes and runs of one byte only, which suits label maps. Unlike streams it is synchronous, so
// the component's value is complete before any event is sent. No canvas: some browsers add noise to its pixels.
function deflate(bytes) {
  const out = new Uint8Array(bytes.length * 9 / 8 + 64 | 0);
  let at = 0, held = 0, bits = 0;
  const put = (value, count) => {
    held |= value << bits;
    for (bits += count; bits >= 8; bits -= 8) { out[at++] = held & 255; held >>>= 8; }
  };
  const putCode = (code, count) => { // Huffman codes start with the most significant bit
    let back = 0;
    for (let k = 0; k < count; k++) back |= ((code >> k) & 1) << (count - 1 - k);
    put(back, count);
  };
  const symbol = (s) => {
    if (s < 144) putCode(0x30 + s, 8);
    else if (s < 256) putCode(0x190 + s - 144, 9);
    else if (s < 280) putCode(s - 256, 7);
    else putCode(0xc0 + s - 280, 8);
  };
  const run = (length) => {
    if (length === 258) { symbol(285); }
    else if (length < 11) { symbol(254 + length); }
    else {
      const extra = 29 - Math.clz32(length - 3), step = (length - 3) >> extra;
      symbol(257 + 4 * extra + step);
      put((length - 3) & ((1 << extra) - 1), extra);
    }
    put(0, 5); // distance 1
  };
  put(0x78, 8); put(0x01, 8); put(1, 1); put(1, 2);
  for (let i = 0; i < bytes.length;) {
    const byte = bytes[i];
    symbol(byte);
    let end = ++i;
    while (end < bytes.length && bytes[end] === byte) end++;
    while (end - i >= 3) { const length = Math.min(258, end - i); run(length); i += length; }
  }
  symbol(256);
  if (bits) put(0, 8 - bits);
  const sum = adler32(bytes);
  out.set([sum >>> 24, (sum >>> 16) & 255, (sum >>> 8) & 255, sum & 255], at);
  return out.subarray(0, at + 4);
}

function pngChunk(name, data) {
  const chunk = new Uint8Array(data.length + 12), view = new DataView(chunk.buffer);
  view.setUint32(0, data.length);
  for (let k = 0; k < 4; k++) chunk[4 + k] = name.charCodeAt(k);
  chunk.set(data, 8);
  view.setUint32(data.length + 8, crc32(chunk.subarray(4, data.length + 8)));
  return chunk;
}

function encodePng(values, width, height) {
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) { // filter 2: the difference from the row above, mostly zeros
    const to = y * (width + 1) + 1, from = y * width;
    rows[to - 1] = 2;
    for (let x = 0; x < width; x++) rows[to + x] = values[from + x] - (y ? values[from + x - width] : 0);
  }
  const head = new Uint8Array(13), view = new DataView(head.buffer);
  view.setUint32(0, width); view.setUint32(4, height); head[8] = 8;
  const parts = [PNG_MAGIC, pngChunk("IHDR", head), pngChunk("IDAT", deflate(rows)), pngChunk("IEND", [])];
  let text = "";
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 8192) text += String.fromCharCode(...part.slice(i, i + 8192));
  }
  return PNG_PREFIX + btoa(text);
}

async function decodePng(url, width, height) {
  const bytes = Uint8Array.from(atob(url.slice(PNG_PREFIX.length)), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer), data = [];
  for (let at = 8; at + 8 <= bytes.length;) {
    const length = view.getUint32(at), name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (name === "IHDR") {
      const size = [view.getUint32(at + 8), view.getUint32(at + 12)].join("x");
      if (size !== `${width}x${height}` || bytes[at + 16] !== 8 || bytes[at + 17]) throw new Error(`map of ${size}`);
    }
    if (name === "IDAT") data.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const stream = new Blob(data).stream().pipeThrough(new DecompressionStream("deflate"));
  return unfilter(new Uint8Array(await new Response(stream).arrayBuffer()), width, height);
}

function unfilter(rows, width, height) {
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (width + 1)], from = y * (width + 1) + 1, to = y * width;
    for (let x = 0; x < width; x++) {
      const left = x ? values[to + x - 1] : 0, up = y ? values[to + x - width] : 0;
      const corner = x && y ? values[to + x - width - 1] : 0;
      let guess = 0;
      if (filter === 1) guess = left;
      else if (filter === 2) guess = up;
      else if (filter === 3) guess = (left + up) >> 1;
      else if (filter === 4) {
        const p = left + up - corner, a = Math.abs(p - left), b = Math.abs(p - up), c = Math.abs(p - corner);
        guess = a <= b && a <= c ? left : b <= c ? up : corner;
      }
      values[to + x] = rows[from + x] + guess;
    }
  }
  return values;
}

// Visits each pixel whose centre is in the disc; odd sizes are centred on a pixel, even ones on a corner.
function eachInDisc(x, y, size, width, height, visit) {
  const snap = size % 2 ? (v) => Math.floor(v) + 0.5 : Math.round;
  const cx = snap(x), cy = snap(y), reach = size * size / 4;
  const top = Math.max(0, Math.floor(cy - size / 2)), bottom = Math.min(height - 1, Math.ceil(cy + size / 2));
  for (let py = top; py <= bottom; py++) {
    const dy = py + 0.5 - cy, room = reach - dy * dy;
    if (room < 0) continue;
    const half = Math.sqrt(room);
    const first = Math.max(0, Math.ceil(cx - half - 0.5)), last = Math.min(width - 1, Math.floor(cx + half - 0.5));
    for (let px = first; px <= last; px++) visit(py * width + px);
  }
}

// The indices of the 4-connected area around `start` in which `same(index)` holds.
function connectedArea(start, width, height, same) {
  const seen = new Uint8Array(width * height), area = [start];
  seen[start] = 1;
  for (let k = 0; k < area.length; k++) {
    const i = area[k], x = i % width;
    const reach = (j) => { if (!seen[j]) { seen[j] = 1; if (same(j)) area.push(j); } };
    if (x > 0) reach(i - 1);
    if (x < width - 1) reach(i + 1);
    if (i >= width) reach(i - width);
    if (i + width < seen.length) reach(i + width);
  }
  return area;
}

// The smallest rectangle with all changes between two maps, and its content before and after; null without changes.
function makePatch(before, after, width, height) {
  let x0 = width, y0 = height, x1 = -1, y1 = -1;
  for (let i = 0, y = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (before[i] === after[i]) continue;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      if (y < y0) y0 = y;
      y1 = y;
    }
  }
  if (x1 < 0) return null;
  const cut = (map) => {
    const part = new Uint8Array((x1 - x0 + 1) * (y1 - y0 + 1));
    for (let y = y0; y <= y1; y++) part.set(map.subarray(y * width + x0, y * width + x1 + 1), (y - y0) * (x1 - x0 + 1));
    return part;
  };
  return { x0, y0, x1, y1, before: cut(before), after: cut(after) };
}

function applyPatch(map, width, patch, content) {
  const wide = patch.x1 - patch.x0 + 1;
  for (let y = patch.y0; y <= patch.y1; y++) {
    const from = (y - patch.y0) * wide;
    map.set(content.subarray(from, from + wide), y * width + patch.x0);
  }
}

function parseColor(text) {
  const hex = /^#[0-9a-f]{6}$/i.test(text) ? text : "#888888";
  return [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
}

function heatColor(value) {
  const k = Math.max(1, HEAT.findIndex((stop) => value <= stop[0]));
  const [a, b] = [HEAT[k - 1], HEAT[k]], t = (value - a[0]) / (b[0] - a[0]);
  return [1, 2, 3].map((c) => Math.round(a[c] + t * (b[c] - a[c])));
}
