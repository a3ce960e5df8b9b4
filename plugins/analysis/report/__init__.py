"""One HTML file that shows what a model is and where its heads look: ``contents`` gathers, ``page`` draws."""
