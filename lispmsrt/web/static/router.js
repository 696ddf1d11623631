// Which page is shown: "#/sessions/17?site=campus" is page "sessions", rest "17", and a query.

/** Return the address of a page; empty values are left out of the query. */
export function href(path, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
  return `#/${path}${text ? `?${text}` : ""}`;
}

/** Return the page that the address bar names. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [page, ...rest] = path.split("/");
  return { page: page || "overview", rest: decoded(rest.join("/")), query: new URLSearchParams(query), hash: location.hash };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody typed a lone "%"
  }
}

/** Go to a page. */
export function go(path, query) {
  location.hash = href(path, query);
}

/** Have a function called now and whenever the page changes. */
export function onRoute(show) {
  window.addEventListener("hashchange", () => {
    // The skip link is no page.
    if (location.hash === "" || location.hash.startsWith("#/")) show(here());
  });
  show(here());
}
