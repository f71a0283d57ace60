-- Find a pattern: three failed logins of a user in a row within a minute (MATCH_RECOGNIZE).
CREATE TABLE logins (
  user_id INT,
  succeeded BOOLEAN,
  tried_at TIMESTAMP(3),
  WATERMARK FOR tried_at AS tried_at - INTERVAL '2' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '10',
  'fields.user_id.min' = '1',
  'fields.user_id.max' = '20'
);

CREATE TABLE alerts (
  user_id INT,
  first_at TIMESTAMP(3),
  last_at TIMESTAMP(3)
) WITH ('connector' = 'print');

INSERT INTO alerts
SELECT user_id, first_at, last_at
FROM logins
  MATCH_RECOGNIZE (
    PARTITION BY user_id
    ORDER BY tried_at
    MEASURES FIRST(failed.tried_at) AS first_at, LAST(failed.tried_at) AS last_at
    ONE ROW PER MATCH
    AFTER MATCH SKIP PAST LAST ROW
    PATTERN (failed{3}) WITHIN INTERVAL '1' MINUTE
    DEFINE failed AS NOT failed.succeeded
  );
