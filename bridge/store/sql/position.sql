-- How far the log has been projected.
SELECT epoch, log_offset FROM {schema}.projection;
