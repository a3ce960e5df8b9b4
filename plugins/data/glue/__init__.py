"""Classification and regression of texts: GLUE and tasks of your own."""
