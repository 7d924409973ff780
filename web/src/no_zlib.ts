/** dicom-parser asks for Node's zlib, which deflated files would need; these are refused before. */
export default {};
