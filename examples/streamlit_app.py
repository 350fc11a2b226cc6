"""A bundle in Streamlit: streamlit run examples/streamlit_app.py -- BUNDLE"""

from __future__ import annotations

import sys

import numpy as np
import streamlit as st

import eyebright as eb

bundle = st.cache_resource(eb.open_bundle)(sys.argv[1])
risk = max(bundle.manifest.conformal, default=None)
st.title(bundle.name)

upload = st.file_uploader("Show it an image") or st.camera_input("or use the camera")
if upload:
    try:
        image = bundle.fit(bundle.decode(upload.getvalue(), name=upload.name))[np.newaxis]  # (1, h, w, C)
    except eb.EyebrightError as error:
        st.error(error.cause)
        st.stop()
    probabilities = bundle.probabilities(image)  # (1, K)
    (answer,) = bundle.answers([upload.name], probabilities)
    plausible = None if risk is None else bundle.plausible(probabilities, risk)
    st.header(answer.classes[0] if plausible is None or plausible.sum() == 1 else "Not sure")
    for name, share in zip(answer.classes, answer.probabilities, strict=True):
        st.progress(min(share, 1.0), f"{name} {share:.1%}")
    st.image(eb.overlay(image, bundle.explain(image[0])[np.newaxis])[0], "What speaks for it", width=256)
