//! Calls of any method by its path, with requests and answers as JSON: what a client does that knows the descriptors alone.

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde_json::Value;
use sluice_client::Connection;
use tokio_stream::StreamExt as _;
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Paths of all methods of our services, such as `sluice.sync.v1.SyncService/GetSync`.
#[must_use]
pub fn methods() -> Vec<String> {
    let methods = |service: prost_reflect::ServiceDescriptor| {
        let paths = service.methods().map(|method| format!("{}/{}", service.full_name(), method.name()));
        paths.collect::<Vec<_>>()
    };
    pool().services().flat_map(methods).collect()
}

/// The method at a path, if it is ours.
#[must_use]
pub fn method(path: &str) -> Option<MethodDescriptor> {
    let (service, name) = path.split_once('/')?;
    pool().get_service_by_name(service)?.methods().find(|method| method.name() == name)
}

/// The first answer of a call; of a stream that ends without one, `null`. The request of a service that is not ours is empty. Fields of
/// answers have their names in proto, and those without value are left out.
///
/// # Errors
/// The status that the call ends with.
pub async fn call(connection: &Connection, path: &str, json: &str) -> Result<Value, Status> {
    let method = method(path);
    let mut client = tonic::client::Grpc::new(connection.clone()).max_decoding_message_size(64 << 20);
    client.ready().await.unwrap();
    let message = match &method {
        Some(method) => {
            let mut json = serde_json::Deserializer::from_str(json);
            DynamicMessage::deserialize(method.input(), &mut json).expect(path).encode_to_vec().into()
        }
        None => Bytes::new(),
    };
    let takes_a_stream =
        method.as_ref().map_or_else(|| path.ends_with("ServerReflectionInfo"), MethodDescriptor::is_client_streaming);
    let path = format!("/{path}").parse().unwrap();
    let answers = match takes_a_stream {
        // Left open, as streams are.
        true => {
            client.streaming(Request::new(tokio_stream::once(message).chain(tokio_stream::pending())), path, Raw).await
        }
        false => client.server_streaming(Request::new(message), path, Raw).await,
    }?;
    let answer = answers.into_inner().message().await?;
    let (Some(answer), Some(method)) = (answer, method) else { return Ok(Value::Null) };
    let answer = DynamicMessage::decode(method.output(), answer).expect("an answer of its type");
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    Ok(answer.serialize_with_options(serde_json::value::Serializer, &options).expect("an answer is JSON"))
}

fn pool() -> DescriptorPool {
    DescriptorPool::decode(sluice_proto::FILE_DESCRIPTOR_SET).unwrap()
}

/// Messages as they are on the wire.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}
