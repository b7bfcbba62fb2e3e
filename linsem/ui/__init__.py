"""The user interface: the only package that imports gradio and spaces."""
