-- Deduplicate: the first row of each key, for sources that deliver a row more than once.
-- Its state grows with the keys; 'table.exec.state.ttl' says how long one is remembered.
SET 'table.exec.state.ttl' = '${REMEMBERED:-24 h}';

CREATE TABLE events (
  event_id BIGINT,
  payload STRING,
  received_at AS PROCTIME()
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '10',
  'fields.event_id.min' = '1',
  'fields.event_id.max' = '500',
  'fields.payload.length' = '10'
);

CREATE TABLE unique_events (
  event_id BIGINT,
  payload STRING
) WITH ('connector' = 'print');

INSERT INTO unique_events
SELECT event_id, payload
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY event_id ORDER BY received_at) AS n
  FROM events
)
WHERE n = 1;
