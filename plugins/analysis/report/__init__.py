"""A report on a model as one HTML file: ``contents`` gathers its content, ``page`` renders it."""
