"""The screen: the only importer of gradio and spaces."""
