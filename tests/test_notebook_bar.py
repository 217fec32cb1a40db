"""Does a kernel of Jupyter show how far a run is, and nothing that warns?"""

import pytest

CELL = """
import jax
jax.config.update("jax_enable_x64", True)
import sltprob
comparison = sltprob.compare(
    "regular[dimension=1]", ["random_walk"], [10.0], draws=100, warmup=50, progress=True
)
"""


@pytest.mark.slow
def test_a_notebook_shows_progress_and_what_is_finished():
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    seen = []

    class Client(nbclient.NotebookClient):
        def process_message(self, message, cell, index):
            if message["msg_type"] == "update_display_data":
                seen.append(message["content"]["data"]["text/html"])
            return super().process_message(message, cell, index)

    Client(notebook, timeout=300, kernel_name="python3").execute()
    assert "<progress value=" in seen[0]
    assert any("draws/s" in text for text in seen)
    assert seen[-1] == ""  # The bar is gone at the end.
    outputs = notebook.cells[0].outputs
    streams = [output["text"] for output in outputs if output["output_type"] == "stream"]
    # NumPyro imports tqdm, which asks for ipywidgets.
    assert all("tqdm" in text for text in streams), streams
    assert "random_walk β=10: λ̂" in outputs[-1]["data"]["text/html"]
