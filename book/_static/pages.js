// "Download source" saves the file under a name that says which chapter it is, instead of opening it as text.
document.addEventListener("DOMContentLoaded", function () {
  for (const link of document.querySelectorAll("a.btn-download-source-button")) {
    const parts = new URL(link.href).pathname.split("/").slice(-2);
    link.setAttribute("download", parts.join("-"));
    link.removeAttribute("target");
  }
});

// Paper is white: a page in dark mode is printed in light mode.
(function () {
  const data = document.documentElement.dataset;
  let theme = null;
  window.addEventListener("beforeprint", function () {
    theme = data.theme;
    data.theme = "light";
  });
  window.addEventListener("afterprint", function () {
    data.theme = theme;
  });
})();
