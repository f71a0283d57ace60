-- Count per minute: one row per window and key, when the watermark has passed the end of the window.
-- How late a row may come is in WATERMARK; later ones are dropped. ${MINUTES:-1} is the length of a window.
CREATE TABLE orders (
  product STRING,
  amount DECIMAL(10, 2),
  ordered_at TIMESTAMP(3),
  WATERMARK FOR ordered_at AS ordered_at - INTERVAL '5' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '20',
  'fields.product.length' = '1',
  'fields.amount.min' = '1',
  'fields.amount.max' = '100'
);

CREATE TABLE revenue (
  window_start TIMESTAMP(3),
  product STRING,
  orders BIGINT,
  amount DECIMAL(38, 2)
) WITH ('connector' = 'print');

INSERT INTO revenue
SELECT window_start, product, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ordered_at), INTERVAL '${MINUTES:-1}' MINUTE))
GROUP BY window_start, window_end, product;
