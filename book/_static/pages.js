// "Download source" saves the file under a name that says which chapter it is, instead of opening it as text.
document.addEventListener("DOMContentLoaded", function () {
  for (const link of document.querySelectorAll("a.btn-download-source-button")) {
    const parts = new URL(link.href).pathname.split("/").slice(-2);
    link.setAttribute("download", parts.join("-"));
    link.removeAttribute("target");
  }
});
