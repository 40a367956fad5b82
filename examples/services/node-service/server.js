const http = require("node:http");
const isNumber = require("is-number");

const answer = (path) => (isNumber(path.slice(1)) ? `${path.slice(1)} is a number` : "not a number");

if (process.argv.includes("--check")) {
  if (answer("/7") !== "7 is a number") process.exit(1);
} else {
  http.createServer((request, response) => response.end(answer(request.url) + "\n")).listen(3000);
}
