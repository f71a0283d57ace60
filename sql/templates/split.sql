-- Split a stream: one source is read once, and its rows go to several sinks (all INSERTs of a script are one job).
CREATE TABLE readings (
  sensor INT,
  celsius DOUBLE
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '10',
  'fields.sensor.min' = '1',
  'fields.sensor.max' = '10',
  'fields.celsius.min' = '-20',
  'fields.celsius.max' = '60'
);

CREATE TABLE normal (sensor INT, celsius DOUBLE) WITH ('connector' = 'blackhole');

CREATE TABLE too_hot (sensor INT, celsius DOUBLE) WITH ('connector' = 'print');

INSERT INTO normal
SELECT sensor, celsius
FROM readings
WHERE celsius <= ${LIMIT:-40};

INSERT INTO too_hot
SELECT sensor, celsius
FROM readings
WHERE celsius > ${LIMIT:-40};
