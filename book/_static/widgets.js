// Between require.js and embed-amd.js: tells the widget manager where its icon fonts lie. Without it they are looked
// for beside the page.
(function () {
  const folder = new URL("vendor/html-manager/dist", document.currentScript.src).href;
  window.requirejs.config({
    paths: {
      "@jupyter-widgets/html-manager": folder + "/index",
      "@jupyter-widgets/html-manager/dist": folder,
    },
  });
})();
