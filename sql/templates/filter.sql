-- Filter and reshape: keep the rows that matter, give columns the types and names that others expect.
-- Instead of `datagen` and `print` name your own tables; ${RATE:-10} is rows per second.
CREATE TABLE clicks (
  user_id BIGINT,
  url STRING,
  duration_ms INT
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '${RATE:-10}',
  'fields.user_id.min' = '1',
  'fields.user_id.max' = '100',
  'fields.url.length' = '8',
  'fields.duration_ms.min' = '1',
  'fields.duration_ms.max' = '60000'
);

CREATE TABLE slow_clicks (
  user_id BIGINT,
  path STRING,
  seconds DECIMAL(10, 3)
) WITH ('connector' = 'print');

INSERT INTO slow_clicks
SELECT user_id, '/' || LOWER(url), CAST(duration_ms / 1000.0 AS DECIMAL(10, 3))
FROM clicks
WHERE duration_ms > 30000;
