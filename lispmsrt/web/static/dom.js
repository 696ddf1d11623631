// Elements. Data only ever becomes text: an EID or the name of a site may contain anything.

/**
 * Return a new element. Attributes that are null, undefined or false are left out; functions named
 * "onclick" and the like become listeners. Children are nodes, texts, arrays of such, or null.
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

/** Return all children as a flat list of nodes and texts. */
export function nodes(children) {
  return [children]
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

/**
 * Give an element other children, but touch only what differs: focus, selection and scroll position
 * stay. What a listener hangs on is replaced whole.
 */
export function fill(element, ...children) {
  merge(element, nodes(children).map((each) => (each instanceof Node ? each : new Text(each))));
}

function merge(element, fresh) {
  fresh.forEach((each, i) => {
    const old = element.childNodes[i];
    if (!old) element.append(each);
    else if (old.isEqualNode(each)) return;
    else if (old instanceof Text && each instanceof Text) old.data = each.data;
    else if (old instanceof Element && old.nodeName === each.nodeName && !old.matches("button, form")) mergeInto(old, each);
    else old.replaceWith(each);
  });
  while (element.childNodes.length > fresh.length) element.lastChild.remove();
}

function mergeInto(old, fresh) {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  merge(old, [...fresh.childNodes]);
}

/** Tell those who do not see the page. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** Return a list of terms and what is known of each; empty values are left out. */
export function terms(pairs, className = "terms") {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: className }, known.map(([term, value]) => h("div", null, h("dt", null, term), h("dd", null, value))));
}

/** Return a section with a heading. */
export function card(title, ...children) {
  return h("section", { class: "card" }, title ? h("h2", null, title) : null, children);
}

/** Return a small coloured word; kind is ok, problem, note, off or empty. */
export function badge(text, kind = "") {
  return h("span", { class: `badge ${kind}` }, text);
}
