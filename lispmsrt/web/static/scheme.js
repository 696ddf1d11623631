// Light or dark as chosen earlier, before anything is drawn. Not a module: those come too late.
"use strict";
{
  let chosen = null;
  try {
    chosen = localStorage.getItem("lispmsrt-scheme");
  } catch {
    // Storage is switched off: the system's choice holds.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.scheme = chosen;
}
