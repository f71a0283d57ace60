import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import ALWAYS, OWNED, Layer, check_config, check_key, is_secret, merge, shown, values
from core.errors import InvalidInput
from core.sql.setting_keys import KEYS

layers = st.dictionaries(
    st.sampled_from(Layer), st.dictionaries(st.sampled_from("abc"), st.text("xyz", max_size=3)), max_size=6
)


@given(layers)
def test_the_highest_layer_that_sets_a_key_wins(given_layers):
    effective = merge(given_layers)
    order = list(Layer)
    for key, item in effective.items():
        setting = [layer for layer in order if key in given_layers.get(layer, {})]
        assert item.layer is setting[-1]
        assert item.overrides == setting[:-1]
        assert values(effective)[key] == given_layers[setting[-1]][key]
    assert set(effective) == {k for layer in given_layers.values() for k in layer}


@pytest.mark.parametrize("key", [*OWNED, "$internal.x", "rest.port", "high-availability.type", "env.java.opts"])
def test_keys_of_penstock_are_refused_with_the_reason(key):
    with pytest.raises(InvalidInput) as error:
        check_key(key, "config")
    assert key in error.value.message
    assert error.value.code in ("forbidden_config_key", "bad_config_key")


def test_what_no_attempt_may_do_without_is_given_to_each_and_offered_to_nobody():
    """A user may not set it, and the configuration of the cluster itself is not the user's."""
    for key in ALWAYS:
        assert key in OWNED
    assert not {key for key in KEYS if key in OWNED or key.startswith("state.changelog.")}


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "-x", "é", "x" * 300])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(InvalidInput):
        check_key(key, "config")


def test_values_are_checked():
    check_config({"taskmanager.x": "1"}, "config")
    for value in ("a\0", "x" * 9000):
        with pytest.raises(InvalidInput):
            check_config({"a": value}, "config")


@pytest.mark.parametrize("key", ["s3.secret-key", "a.PASSWORD", "fs.azure.account.token", "x.api-key", "credentials"])
def test_secrets_are_not_shown(key):
    assert is_secret(key)
    assert shown(key, "hunter2") == "******"


@pytest.mark.parametrize("key", ["pipeline.jars", "pipeline.classpaths"])
def test_jars_come_from_libraries(key: str):
    with pytest.raises(InvalidInput) as caught:
        check_config({key: "file:///x.jar"}, "spec.config")
    assert "`libraries` of the spec" in str(caught.value.remedy)
