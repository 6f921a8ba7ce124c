// Figures as people read them.

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** A size as [number, unit], such as ['17.2', 'MB']. */
export function sizeParts(bytes) {
  if (!Number.isFinite(bytes)) return ['–', ''];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit > 0 && value < 10 ? 1 : 0;
  return [value.toFixed(digits).replace(/\.0$/, ''), UNITS[unit]];
}

export function size(bytes) {
  return sizeParts(bytes).join(' ').trim();
}

/** A duration as [number, unit], such as ['1.5', 's']. */
export function durationParts(ms) {
  if (!Number.isFinite(ms)) return ['–', ''];
  const shown = (value) => (value < 10 ? value.toFixed(1).replace(/\.0$/, '') : String(Math.round(value)));
  if (ms < 1) return [ms === 0 ? '0' : ms.toFixed(2), 'ms'];
  if (ms < 1000) return [shown(ms), 'ms'];
  if (ms < 120_000) return [shown(ms / 1000), 's'];
  if (ms < 7_200_000) return [shown(ms / 60_000), 'min'];
  if (ms < 172_800_000) return [shown(ms / 3_600_000), 'h'];
  return [shown(ms / 86_400_000), 'd'];
}

export function duration(ms) {
  return durationParts(ms).join(' ').trim();
}

export function count(number) {
  return Number.isFinite(number) ? Math.round(number).toLocaleString('en-US') : '–';
}

export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
}

export function percent(share) {
  if (!Number.isFinite(share)) return '–';
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

/** How long ago something happened: "just now", "5 min ago", "3 Sep 2025". */
export function ago(epoch, now = Date.now()) {
  const ms = now - epoch;
  if (!Number.isFinite(ms)) return '';
  if (ms < 10_000) return 'just now';
  if (ms < 86_400_000) return `${duration(ms)} ago`;
  return new Date(epoch).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
}

export function clock(epoch, withSeconds = false) {
  return new Date(epoch).toLocaleTimeString('en-GB', {
    hour: '2-digit',
    minute: '2-digit',
    ...(withSeconds ? { second: '2-digit' } : {}),
  });
}
