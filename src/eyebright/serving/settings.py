"""`ServerSettings`: where the server listens, how it gathers batches, and what it refuses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from eyebright.core.settings.fields import NotNegativeFloat, Positive, PositiveFloat, settings

MEBIBYTE = 1 << 20

Port = Annotated[int, Field(ge=0, le=65535)]


@settings
class ServerSettings:
    """Choices of a server. The limits keep its memory bounded, whatever its clients do.

    Together they allow about `max_bytes_held`, and for each lane the pixels of one decoded image: up to 0.25 GB for
    images of 16 megapixels; larger ones are decoded one at a time and take up to 15 bytes a pixel.

    Attributes
    ----------
    host, port : to listen at; port 0 takes a free one.
    workers : processes; each loads the bundles.
    lanes : threads of a process that decode and infer, each for itself; default: the cores that it may use, divided
        by the workers.
    max_batch : images that one inference takes at most.
    max_wait : seconds that an image waits for others to share its inference, while another inference is under way;
        an idle server never waits.
    max_queue : images of one model that may wait; more are refused with 429.
    max_images : of one request.
    max_body : bytes of one request.
    max_bytes_held : of all requests together that have arrived and are not answered; more are refused with 429.
    max_pixels : of one image, read from its header before it is decoded. 50 megapixels are a large telephone's photo.
    max_connections : open at a time; more are answered 429 and closed.
    max_explanations : heat maps that may wait or be made at a time.
    header_seconds : until the head of a request has arrived, from its beginning or that of the connection.
    body_seconds : until its body has arrived, from the end of the head; and as long for the client to take more of
        the answer where it has stopped.
    answer_seconds : until it is answered, from the end of the body.
    idle_seconds : that a connection without a request is kept.
    drain_seconds : after SIGTERM, to finish what has arrived.
    watch_seconds : between two looks whether a bundle has changed; 0 does not look.
    """

    host: str = "127.0.0.1"
    port: Port = 8000
    workers: Positive = 1
    lanes: Positive | None = None
    max_batch: Positive = 32
    max_wait: NotNegativeFloat = 0.002
    max_queue: Positive = 1024
    max_images: Positive = 64
    max_body: Positive = 32 * MEBIBYTE
    max_bytes_held: Positive = 256 * MEBIBYTE
    max_pixels: Positive = 50_000_000
    max_connections: Positive = 1000
    max_explanations: Positive = 8
    header_seconds: PositiveFloat = 10.0
    body_seconds: PositiveFloat = 60.0
    answer_seconds: PositiveFloat = 30.0
    idle_seconds: Positive = 75
    drain_seconds: Positive = 30
    watch_seconds: NotNegativeFloat = 1.0
