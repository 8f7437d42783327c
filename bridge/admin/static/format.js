// How numbers and times are written. Dashes stand for what is not known.

export const UNKNOWN = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const KIBI = 1024;
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const missing = (value) => value === null || value === undefined || Number.isNaN(value);

/** 1234 → "1,234"; from a million on "1.23M". */
export function count(value) {
  if (missing(value)) return UNKNOWN;
  if (Math.abs(value) >= 1e6) return compact.format(value);
  return Math.abs(value) < 10 && !Number.isInteger(value) ? tenths.format(value) : whole.format(value);
}

/** 2048 → "2 KiB". */
export function bytes(value) {
  if (missing(value)) return UNKNOWN;
  let unit = 0;
  for (; Math.abs(value) >= KIBI && unit < UNITS.length - 1; unit += 1) value /= KIBI;
  return `${count(value)} ${UNITS[unit]}`;
}

/** 1.5 → "1.5 ms"; from a second on in seconds. */
export function milliseconds(value) {
  if (missing(value)) return UNKNOWN;
  if (value >= 1000) return `${tenths.format(value / 1000)} s`;
  return `${value < 10 ? tenths.format(value) : whole.format(value)} ms`;
}

/** 4000 → "1 h 6 min": the two largest units. */
export function duration(seconds) {
  if (missing(seconds)) return UNKNOWN;
  if (seconds < 60) return `${seconds < 10 && !Number.isInteger(seconds) ? tenths.format(seconds) : whole.format(seconds)} s`;
  const parts = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
  const shown = [];
  let rest = Math.round(seconds);
  for (const [unit, size] of parts) {
    const amount = Math.floor(rest / size);
    rest -= amount * size;
    if (amount || shown.length) shown.push([amount, unit]);
    if (shown.length === 2) break;
  }
  return shown.filter(([amount]) => amount).map(([amount, unit]) => `${amount} ${unit}`).join(" ");
}

const two = (number) => String(number).padStart(2, "0");

/** A time of day here, with thousandths if asked for. */
export function clock(time, { exact = false } = {}) {
  const date = new Date(time);
  if (missing(date.getTime())) return UNKNOWN;
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return exact ? `${text}.${String(date.getMilliseconds()).padStart(3, "0")}` : text;
}

/** A day and a time here; without the day if it is today. */
export function moment(time) {
  const date = new Date(time);
  if (missing(date.getTime())) return UNKNOWN;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return date.toDateString() === new Date().toDateString() ? clock(date) : `${day} ${clock(date)}`;
}

/** How long ago, or how long from now. */
export function distance(time, now = Date.now()) {
  const seconds = (new Date(time).getTime() - now) / 1000;
  if (missing(seconds)) return UNKNOWN;
  const length = duration(Math.round(Math.abs(seconds)));
  return seconds < 0 ? `${length} ago` : `in ${length}`;
}

/** JSON for people. */
export function pretty(value) {
  return JSON.stringify(value, null, 2);
}
