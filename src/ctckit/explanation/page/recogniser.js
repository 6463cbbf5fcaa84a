/* A word, a number of frames, and what a made-up recogniser gives for them: the data of a computation. The formula is
   that of recogniser.py, and so are its numbers; the arcs of a blank, a token and a repeated token come from Python.
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

/** Which token each state is, or -1: between tokens there are blanks, if the lattice has any. */
function tokensOf(target, roles) {
  if (roles.blank === null) return [...target.keys()];
  return Array.from({ length: 2 * target.length + 1 }, (_, k) => (k % 2 ? (k - 1) / 2 : -1));
}

/** The first token that equals the one before it; -1 if there is none. */
const firstRepeat = (target) => target.findIndex((token, s) => token === target[s - 1]);

/** Whether a target has a lattice of this kind. */
function hasLattice(target, roles) {
  return (roles.blank !== null || target.length > 0) && (roles.repeat !== null || firstRepeat(target) < 0);
}

/** Each state's arcs as bits, by what `roles` says of a blank, a token, and a token that repeats the one before. */
function arcsOf(target, roles, { moves, start, end }) {
  return tokensOf(target, roles).map((s, k, { length }) => {
    const own = s < 0 ? roles.blank : target[s] === target[s - 1] ? roles.repeat : roles.token;
    const ends = (k < roles.starts ? start : 0) | (k >= length - roles.ends ? end : 0);
    const outside = moves.filter(([, back]) => back > k).reduce((bits, [bit]) => bits | bit, 0);
    return (own & ~outside & ~start & ~end) | ends;
  });
}

/** What the letters of a word are as classes, and the classes' labels. */
function classesOf(letters) {
  const known = [...new Set(letters)];
  return { target: letters.map((letter) => 1 + known.indexOf(letter)), labels: [BLANK, ...known] };
}

/** The data of a computation, as Python gives it for other ones, on one of the lattices of a word. */
function dataOfWord(letters, frames, given, name) {
  const { target, labels } = classesOf(letters);
  const roles = given.lattices[name];
  const tokens = tokensOf(target, roles);
  return {
    columns: labels.map((label) => ({ label })),
    frames,
    logProbs: recognised(target, labels.length, frames, given),
    isLarge: false,
    states: tokens.map((s) => (s < 0 ? 0 : target[s])),
    tokens,
    arcs: arcsOf(target, roles, given),
    moves: given.moves,
    start: given.start,
    end: given.end,
    entryCosts: tokens.map(() => 0),
    stateScores: tokens.map(() => 0),
    longArcs: [],
    isCTC: name === "ctc",
    blank: 0,
    target: letters.join(""),
    framesNeeded: framesNeeded(target, given),
    fromLogits: true,
    score: letters.length ? "-Infinity" : 0, // of no frames
    mostPaths: given.mostPaths,
  };
}

/** The fewest frames of any path of CTC's lattice, by the arcs: each token and, where they demand one, a blank. */
function framesNeeded(target, given) {
  const arcs = arcsOf(target, given.lattices.ctc, given);
  const fewest = [];
  arcs.forEach((bits, k) => {
    const before = given.moves.filter(([bit, back]) => back && bits & bit).map(([, back]) => fewest[k - back]);
    fewest.push(bits & given.start ? 1 : 1 + Math.min(...before));
  });
  return target.length ? Math.min(...fewest.filter((_, k) => arcs[k] & given.end)) : 0;
}
