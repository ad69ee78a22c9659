document.querySelector("#app")?.append("Best Actor");
