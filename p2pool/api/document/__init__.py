"""The OpenAPI document: what the API takes and gives, in a form that programs read."""
