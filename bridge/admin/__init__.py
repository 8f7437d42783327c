"""The operator port: health and metrics. Only this package imports aiohttp and prometheus_client."""
