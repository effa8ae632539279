"""The real SDKs of OpenAI and Anthropic, old and new side by side, against what this project answers."""
