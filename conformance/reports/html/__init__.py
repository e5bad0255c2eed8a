"""The HTML page: `render` fills the templates with the view of `page`, the diagrams of `sequence` and the steps of `steps`."""
