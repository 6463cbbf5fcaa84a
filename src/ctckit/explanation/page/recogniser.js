/* A word, a number of frames, and what a made-up recogniser gives for them: the data of a computation. The formula is
   that of recogniser.py, and so are its numbers; the arcs of a blank, a token and a repeated token come from rule.py.
   Needs words.js, collapse.js and computation.js. */

/** Log-probabilities (T, C): each token rises and falls at its own time. */
function recognised(target, classes, frames, { peaks, early, sharpness, blankLogit }) {
  const rows = Array.from({ length: frames }, () => new Array(classes).fill(0));
  target.forEach((token, s) => {
    const middle = ((s + 0.5) * frames) / target.length - 0.5 - early;
    const peak = peaks[s % peaks.length];
    rows.forEach((row, t) => {
      const distance = ((t - middle) * target.length) / frames;
      row[token] = Math.max(row[token], peak * Math.exp(-sharpness * distance ** 2));
    });
  });
  for (const row of rows) row[0] = blankLogit;
  return rows.map((row) => {
    const total = logsumexp(row);
    return row.map((logit) => logit - total);
  });
}

/** Each state's arcs as bits, by what `roles` says of a blank, a token, and a token that repeats the one before. */
function arcsOf(target, { roles, moves }) {
  const states = 2 * target.length + 1;
  return Array.from({ length: states }, (_, k) => {
    const s = (k - 1) / 2;
    const own = k % 2 === 0 ? roles.blank : target[s] === target[s - 1] ? roles.repeat : roles.token;
    const ends = (k < 2 ? roles.start : 0) | (k >= states - 2 ? roles.end : 0);
    const outside = moves.filter(([, back]) => back > k).reduce((bits, [bit]) => bits | bit, 0);
    return (own & ~outside) | ends;
  });
}

/** The data of a computation, as Python gives it for other ones. */
function dataOfWord(letters, frames, given) {
  const known = [...new Set(letters)];
  const target = letters.map((letter) => 1 + known.indexOf(letter));
  const labels = [BLANK, ...known];
  const states = Array.from({ length: 2 * target.length + 1 }, (_, k) => (k % 2 ? target[(k - 1) / 2] : 0));
  return {
    columns: labels.map((label) => ({ label })),
    frames,
    logProbs: recognised(target, labels.length, frames, given),
    isLarge: false,
    states,
    tokens: states.map((_, k) => (k % 2 ? (k - 1) / 2 : -1)),
    arcs: arcsOf(target, given),
    moves: given.moves,
    start: given.start,
    end: given.end,
    entryCosts: states.map(() => 0),
    longArcs: [],
    isCTC: true,
    blank: 0,
    target: letters.join(""),
    framesNeeded: framesNeeded(target, given),
    fromLogits: true,
    score: letters.length ? "-Infinity" : 0, // of no frames
    mostPaths: given.mostPaths,
  };
}

/** The fewest frames of any path, by the arcs: each token and, where they demand one, a blank. */
function framesNeeded(target, given) {
  const arcs = arcsOf(target, given);
  const fewest = [];
  arcs.forEach((bits, k) => {
    const before = given.moves.filter(([bit, back]) => back && bits & bit).map(([, back]) => fewest[k - back]);
    fewest.push(bits & given.start ? 1 : 1 + Math.min(...before));
  });
  return target.length ? Math.min(...fewest.filter((_, k) => arcs[k] & given.end)) : 0;
}
