-- Top N per group: the ${N:-3} products with the highest amounts in each country, kept up to date.
-- The result changes: the sink has to take updates, by the key (country, place).
CREATE TABLE sales (
  country STRING,
  product INT,
  amount INT
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '10',
  'fields.country.length' = '1',
  'fields.product.min' = '1',
  'fields.product.max' = '50',
  'fields.amount.min' = '1',
  'fields.amount.max' = '1000'
);

CREATE TABLE best_sellers (
  country STRING,
  place BIGINT,
  product INT,
  amount BIGINT,
  PRIMARY KEY (country, place) NOT ENFORCED
) WITH ('connector' = 'print');

INSERT INTO best_sellers
SELECT country, place, product, amount
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY country ORDER BY amount DESC) AS place
  FROM (
    SELECT country, product, SUM(CAST(amount AS BIGINT)) AS amount
    FROM sales
    GROUP BY country, product
  )
)
WHERE place <= ${N:-3};
