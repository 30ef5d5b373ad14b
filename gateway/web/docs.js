// The API's page: Swagger UI over this server's own document. Nothing is asked of any other server.

window.SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.getElementById("docs"),
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});
