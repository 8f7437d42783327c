"""Who a token names. Only this package imports jwt."""
