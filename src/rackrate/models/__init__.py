"""What a model is: its architecture, read from a config, a GGUF file or safetensors, and its number formats."""
