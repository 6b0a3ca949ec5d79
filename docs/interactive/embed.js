// Keeps each <iframe class="interactive"> in the theme and language of the page around it, and as
// high as what it shows. Frames and page talk by messages alone, so this works from file:// too.
"use strict";

(() => {
  const root = document.documentElement;
  const frames = () => [...document.querySelectorAll("iframe.interactive")];

  function tell(frame) {
    const lang = root.lang.startsWith("zh") ? "zh" : "en";
    const theme = root.dataset.theme;  // the frame ignores any but "light" and "dark"
    frame.contentWindow?.postMessage({ theme, lang }, "*");
  }

  const tellAll = () => frames().forEach(tell);

  addEventListener("message", ({ source, data }) => {
    const frame = frames().find(({ contentWindow }) => contentWindow === source);
    if (frame && Number.isFinite(data?.height)) frame.style.height = `${data.height}px`;
  });
  // load does not bubble, but it is captured on its way to a frame.
  document.addEventListener("load", ({ target }) => frames().includes(target) && tell(target), true);
  new MutationObserver(tellAll).observe(root, { attributeFilter: ["data-theme", "lang"] });
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", tellAll);
  else tellAll();
})();
