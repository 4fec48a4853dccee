// Between require.js and embed-amd.js, on pages with widgets.
(function () {
  // Where the widget manager finds its icon fonts; without this it looks beside the page.
  const folder = new URL("vendor/html-manager/dist", document.currentScript.src).href;
  window.requirejs.config({
    paths: {
      "@jupyter-widgets/html-manager": folder + "/index",
      "@jupyter-widgets/html-manager/dist": folder,
    },
  });

  // Labels of widgets are typeset by MathJax 2's Hub.Queue(["Typeset", Hub, element]); the page has MathJax 3.
  // MathJax is there (deferred scripts have run) and no widget has been drawn yet (that waits for "load").
  document.addEventListener("DOMContentLoaded", function () {
    const mathjax = window.MathJax;
    if (mathjax && mathjax.startup && !mathjax.Hub) {
      mathjax.Hub = {
        Queue: (task) => mathjax.startup.promise.then(() => mathjax.typesetPromise([task[2]])),
      };
    }
  });
})();
