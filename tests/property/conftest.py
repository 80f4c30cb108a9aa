"""Every method is compared on a path of launchers, too."""

import pytest


@pytest.fixture(scope="module", params=["serial", "thread:2", "process:2", "multiprocess:2", "process:1/process:2"])
def launcher(request):
    return request.param
