//! stub
use crate::ids::*;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub enum TokensError { TooFew }
pub struct SegmentInput { pub case_ref: CaseRef, pub offence_class: String, pub urgency: String, pub purpose_commitment: Digest, pub inputs: Vec<Vec<u8>> }
pub trait CustodianTransport: Send + Sync + 'static {}
#[derive(Debug)]
pub struct Tokenizer<T>(T);
impl<T: CustodianTransport> Tokenizer<T> { pub async fn evaluate(&self, _: &TokenKeyInfo, _: QueryId, _: Vec<SegmentInput>) -> Result<Vec<crate::oprf::Evaluation>, TokensError> { Err(TokensError::TooFew) } }
pub struct TokenKeyInfo;
impl crate::roster::TokenKey { pub fn info(&self) -> TokenKeyInfo { TokenKeyInfo } }
