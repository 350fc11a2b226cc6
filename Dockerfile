# Serves a bundle that `eyebright export` wrote. There is no torch inside: ONNX Runtime answers.
#
#   docker build --tag eyebright .
#   docker run --publish 8000:8000 --volume "$PWD/bundle:/bundle:ro" eyebright
#   docker run --publish 8000:8000 --volume "$PWD/bundle:/bundle:ro" eyebright /bundle --workers 2

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
COPY constraints.txt serve-requirements.txt ./
RUN python -m venv /eyebright \
 && /eyebright/bin/pip install --no-cache-dir --constraint constraints.txt --requirement serve-requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# Without what it depends on: that includes torch, which trains. What serving needs has been installed above.
RUN /eyebright/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11.14-slim-bookworm
COPY --from=build /eyebright /eyebright
ENV PATH=/eyebright/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Nobody in particular, without a home and without rights.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
 CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
ENTRYPOINT ["eyebright", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["/bundle"]
