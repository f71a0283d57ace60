-- Sessions: what a user does until nothing comes for ${GAP:-30} seconds is one visit.
CREATE TABLE clicks (
  user_id INT,
  clicked_at TIMESTAMP(3),
  WATERMARK FOR clicked_at AS clicked_at - INTERVAL '5' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '2',
  'fields.user_id.min' = '1',
  'fields.user_id.max' = '30'
);

CREATE TABLE visits (
  user_id INT,
  began_at TIMESTAMP(3),
  ended_at TIMESTAMP(3),
  clicks BIGINT
) WITH ('connector' = 'print');

INSERT INTO visits
SELECT user_id, window_start, window_end, COUNT(*)
FROM TABLE(SESSION(TABLE clicks PARTITION BY user_id, DESCRIPTOR(clicked_at),
  INTERVAL '${GAP:-30}' SECOND))
GROUP BY user_id, window_start, window_end;
