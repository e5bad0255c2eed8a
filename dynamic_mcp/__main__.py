"""``python -m dynamic_mcp config.json``."""

from dynamic_mcp.cli import main

if __name__ == "__main__":
    main()
