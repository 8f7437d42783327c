"""The operator port: health, metrics, console. Only this package imports aiohttp and prometheus_client."""
