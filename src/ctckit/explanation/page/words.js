/* Text: words of the page's language, numbers, labels; and the nodes that hold them.
   Labels may be any text: they are only ever set as text, never as HTML. */

const WORDS = JSON.parse(document.getElementById("words").textContent);
const TITLES = JSON.parse(document.getElementById("titles").textContent); // null: that of the first widget
const page = document.documentElement;
const KINDS = {}; // what shows a block, by its kind: the scripts of widgets add theirs

/** A text of the page's language. {name} is a value; {name:frame|frames} is the first word for 1, else the second. */
function say(key, values = {}) {
  const text = WORDS[page.lang][key];
  if (text === undefined) throw new Error(`no words for ${key} in ${page.lang}`);
  return text.replace(/\{(\w+)(?::(.*?)\|(.*?))?\}/g, (_, name, one, many) => {
    if (!(name in values)) throw new Error(`nothing to put for {${name}} in ${key}`);
    return one === undefined ? values[name] : Number(values[name]) === 1 ? one : many;
  });
}

/** What says something in words, to be said again in another language. */
class Wordings {
  constructor() {
    this.all = [];
  }

  add(node, words, attribute) {
    this.all.push(() => (attribute ? node.setAttribute(attribute, words()) : (node.textContent = words())));
    return node;
  }

  say() {
    for (const wording of this.all) wording();
  }
}

function number(x, digits = 3) {
  if (x === Infinity) return "∞";
  if (x === -Infinity) return "−∞";
  const text = x.toFixed(digits);
  return (Number(text) === 0 ? (0).toFixed(digits) : text).replace("-", "−");
}

/** What is added to a score: with its sign, and two to four digits after the point: as many as it has. */
function signed(x) {
  const digits = [2, 3].find((n) => Math.abs(x - Number(x.toFixed(n))) < 1e-6) ?? 4;
  return `${x > 0 ? "+" : ""}${number(x, digits)}`;
}

const raised = (n) => String(n).replace(/[-\d]/g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
const lowered = (n) => String(n).replace(/\d/g, (c) => "₀₁₂₃₄₅₆₇₈₉"[c]);

function probability(p) {
  if (p === 0) return "0";
  if (Math.abs(p) >= 1e-3) return number(p, 4);
  const [mantissa, exponent] = p.toExponential(2).split("e");
  return `${mantissa.replace("-", "−")} × 10${raised(Number(exponent))}`;
}

/** exp(x), also where that is smaller than the smallest double. */
function exponential(x) {
  if (x === -Infinity || x > -600) return probability(Math.exp(x));
  const exponent = Math.floor(x / Math.LN10);
  return `${(10 ** (x / Math.LN10 - exponent)).toFixed(2)} × 10${raised(exponent)}`;
}

/** A number of paths, in groups of three digits; rounded if it has more than fifteen. */
function counted(n) {
  if (n < 10n ** 15n) return n.toLocaleString("en");
  const [mantissa, exponent] = Number(n).toExponential(2).split("e+");
  return `${mantissa} × 10${raised(exponent)}`;
}

function percent(p) {
  if (p > 0 && p < 0.0005) return "<0.1%";
  return `${(100 * p).toFixed(1)}%`;
}

/** Terms of a sum: a + b, but a − b instead of a + −b. */
function sum(terms) {
  return terms.map((x, i) => (i && x < 0 ? `− ${number(-x)}` : `${i ? "+ " : ""}${number(x)}`)).join(" ");
}

/** A label that can be seen: white space around it, nothing, and lone combining marks get a stand-in. */
function standIn(label) {
  if (label === "") return "“”";
  const shown = label
    .replace(/\n/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(/^\s+|\s+$/g, (spaces) => "␣".repeat(spaces.length))
    .replace(/\p{Cc}/gu, "\ufffd");
  return /^\p{M}/u.test(shown) ? `◌${shown}` : shown;
}

/** A text's letters as a reader counts them: accents, and the parts of an emoji, belong to the letter before. */
function lettersOf(text) {
  return [...new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text)].map(({ segment }) => segment);
}

/** Text that keeps to itself: right-to-left letters would turn the formula around them. */
function isolated(text) {
  return /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/.test(text) ? `\u2068${text}\u2069` : text;
}

/** Labels as one text. */
function joined(data, columns, between) {
  return isolated(columns.map((c) => standIn(data.columns[c].label ?? "")).join(between));
}

/** What a column of the page's data is called: by its label, or as the rest of many classes. */
function labelOf(data, c) {
  const column = data.columns[c];
  return "rest" in column ? say("rest", { n: column.rest }) : isolated(standIn(column.label));
}

function create(namespace, tag, attributes, children) {
  const node = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
const html = (tag, attributes = {}, ...children) => create("http://www.w3.org/1999/xhtml", tag, attributes, children);
const svg = (tag, attributes = {}, ...children) => create("http://www.w3.org/2000/svg", tag, attributes, children);
const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
