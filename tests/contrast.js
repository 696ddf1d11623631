(() => {
  // Texts whose contrast to what is behind them is below 4.5 to 1 (WCAG 2.1, 1.4.3).
  const numbers = (text) => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((each) => each / 255).map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const [r, g, b, a = 1] = numbers(getComputedStyle(each).backgroundColor);
      if (a > 0.99) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((each) => each instanceof Text && each.data.trim());
    // What is switched off, or seen by nobody, need not be read.
    if (!hasText || !element.checkVisibility() || element.matches("button:disabled, .unseen, .skip, noscript, option")) continue;
    if (element.closest("table[aria-busy=true], .is-new")) continue;
    const a = light(numbers(getComputedStyle(element).color));
    const b = light(ground(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.nodeName} ${element.className}: ${element.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(poor)];
})()
