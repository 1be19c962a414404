"use strict";

/** Shows /openapi.json. Everything from the document enters the page as text, never as markup. */

const METHODS = ["get", "post", "patch", "put", "delete"];

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Text in which `words` become code. */
function prose(text) {
  return (text || "").split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function resolve(root, schema) {
  let found = schema || {};
  while (found.$ref) found = found.$ref.split("/").slice(1).reduce((place, key) => place[key], root);
  return found;
}

function nameOf(schema) {
  return schema.$ref ? schema.$ref.split("/").pop().replace(/^Data_(.+)_$/, "$1 in data") : null;
}

/** One line that says what a value may be. */
function typeText(root, schema) {
  if (!schema || Object.keys(schema).length === 0) return "any JSON";
  if (schema.$ref) {
    const target = resolve(root, schema);
    return target.type === "object" ? nameOf(schema) : typeText(root, target);
  }
  if (schema.anyOf) return schema.anyOf.map((option) => typeText(root, option)).join(" or ");
  if (schema.enum) return schema.enum.join(", ");
  if (schema.type === "array") return `list of ${typeText(root, schema.items)}`;
  if (schema.type === "object" && schema.additionalProperties) {
    return `object of ${typeText(root, schema.additionalProperties)}`;
  }
  return [schema.type || "any JSON", schema.format ? `(${schema.format})` : ""].join(" ").trim();
}

/** Bounds, pattern and default of a value, in words. */
function boundsText(schema) {
  const options = [schema, ...(schema.anyOf || [])];
  const of = (key) => options.map((option) => option[key]).find((value) => value !== undefined);
  const said = [];
  if (of("minimum") !== undefined || of("maximum") !== undefined) {
    const most = of("maximum");
    said.push(`${of("minimum") ?? "…"} to ${most === undefined || most > Number.MAX_SAFE_INTEGER ? "…" : most}`);
  }
  if (of("minLength") !== undefined || of("maxLength") !== undefined) {
    said.push(`${of("minLength") ?? 0} to ${of("maxLength") ?? "…"} characters`);
  }
  if (of("minItems") !== undefined || of("maxItems") !== undefined) {
    said.push(`${of("minItems") ?? 0} to ${of("maxItems") ?? "…"} items`);
  }
  if (of("pattern") !== undefined) said.push(`pattern \`${of("pattern")}\``);
  if (schema.default !== undefined && schema.default !== null) said.push(`default \`${JSON.stringify(schema.default)}\``);
  return [of("description"), said.join(", ")].filter(Boolean).join("; ");
}

function fieldRow(root, name, schema, required) {
  return element(
    "tr",
    {},
    element("td", {}, element("code", {}, name), " ", required ? element("span", { class: "required" }, "required") : null),
    element("td", {}, typeText(root, schema)),
    element("td", { class: "note" }, ...prose(boundsText(schema))),
  );
}

function table(rows) {
  const head = ["Name", "Type", "Notes"].map((title) => element("th", { scope: "col" }, title));
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

/** The fields of an object, then those of the objects inside it, each once. */
function schemaTables(root, schema, seen = new Set()) {
  const target = resolve(root, schema);
  const required = new Set(target.required || []);
  const fields = Object.entries(target.properties || {});
  const parts = [];
  if (fields.length) parts.push(table(fields.map(([name, field]) => fieldRow(root, name, field, required.has(name)))));
  for (const inner of fields.flatMap(([, field]) => objectsIn(root, field))) {
    const name = nameOf(inner);
    if (seen.has(name)) continue;
    seen.add(name);
    parts.push(
      element("details", {}, element("summary", {}, name), note(resolve(root, inner).description), ...schemaTables(root, inner, seen)),
    );
  }
  return parts;
}

function objectsIn(root, schema) {
  if (schema.$ref) return resolve(root, schema).properties ? [schema] : [];
  return [...(schema.anyOf || []), schema.items || {}].flatMap((inner) =>
    Object.keys(inner).length ? objectsIn(root, inner) : [],
  );
}

function note(text) {
  return text ? element("p", { class: "note" }, ...prose(text)) : null;
}

function example(value) {
  return value === undefined ? null : element("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
}

function bodyPart(root, body) {
  const content = body.content["application/json"];
  const title = body.required ? "Body" : "Body (may be left out)";
  return [element("h4", {}, title), note(resolve(root, content.schema).description), example(content.example), ...schemaTables(root, content.schema)];
}

function answersPart(root, responses) {
  const rows = Object.entries(responses).map(([status, answer]) => {
    const [media, content] = Object.entries(answer.content || {})[0] || ["", {}];
    const shape = content.schema ? typeText(root, content.schema) : media;
    return element(
      "tr",
      {},
      element("td", {}, element("code", {}, status)),
      element("td", {}, shape),
      element("td", { class: "note" }, ...prose(answer.description)),
    );
  });
  const head = ["Status", "Body", "When"].map((title) => element("th", { scope: "col" }, title));
  const parts = [
    element("h4", {}, "Answers"),
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)),
  ];
  const [, good] = Object.entries(responses).find(([status]) => status.startsWith("2")) || [];
  const content = good && Object.values(good.content || {})[0];
  if (content && content.schema) {
    parts.push(
      element("details", {}, element("summary", {}, "Fields of the answer"), example(content.example), ...schemaTables(root, content.schema)),
    );
  }
  return parts;
}

/** The schema of a parameter, with its place and all that is said of it as its description. */
function described(parameter) {
  const said = [`in the ${parameter.in}`, parameter.description, parameter.schema.description].filter(Boolean);
  return { ...parameter.schema, description: said.join("; ") };
}

function article(root, method, path, operation) {
  const made = element(
    "article",
    { id: operation.operationId },
    element(
      "h3",
      {},
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("span", { class: "path" }, path),
      element("span", { class: "summary" }, operation.summary),
    ),
    element("p", {}, ...prose(operation.description)),
  );
  if (operation.parameters && operation.parameters.length) {
    const rows = operation.parameters.map((parameter) =>
      fieldRow(root, parameter.name, described(parameter), parameter.required),
    );
    made.append(element("h4", {}, "Parameters"), table(rows));
  }
  if (operation.requestBody) made.append(...bodyPart(root, operation.requestBody).filter(Boolean));
  made.append(...answersPart(root, operation.responses));
  return made;
}

function operationsOf(root) {
  return Object.entries(root.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) => ({ method, path, operation: methods[method] })),
  );
}

function show(root) {
  const main = document.getElementById("main");
  const contents = document.getElementById("contents");
  document.getElementById("version").textContent = root.info.version;
  main.replaceChildren(
    element("h1", {}, `${root.info.title} API`),
    element("p", {}, ...prose(root.info.description)),
    element("p", {}, "The document itself: ", element("a", { href: "/openapi.json" }, "/openapi.json"), "."),
  );
  const operations = operationsOf(root);
  const entries = [];
  for (const { name } of root.tags) {
    const own = operations.filter(({ operation }) => operation.tags.includes(name));
    const heading = element("h2", {}, name);
    const list = element("ul");
    const group = element("section", {}, element("h2", {}, name), list);
    main.append(heading);
    contents.append(group);
    for (const { method, path, operation } of own) {
      const part = article(root, method, path, operation);
      const link = element(
        "li",
        {},
        element("a", { href: `#${operation.operationId}` }, element("span", { class: `method ${method}` }, method.toUpperCase()), ` ${operation.summary}`),
      );
      list.append(link);
      main.append(part);
      entries.push({ words: `${method} ${path} ${operation.summary} ${operation.description}`.toLowerCase(), part, link });
    }
  }
  document.getElementById("search").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { words, part, link } of entries) {
      part.hidden = link.hidden = !wanted.every((word) => words.includes(word));
    }
  });
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch("/openapi.json")
  .then((answer) => {
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    return answer.json();
  })
  .then(show)
  .catch((error) => {
    const message = `The document could not be loaded: ${error.message}. Reload the page to try again.`;
    document.getElementById("main").replaceChildren(element("p", { class: "error", role: "alert" }, message));
  });
