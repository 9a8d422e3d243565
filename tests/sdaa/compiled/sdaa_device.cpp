// A device `sdaa` whose memory is the host's and whose kernels are the CPU's, so that tensors really are on `sdaa:N`.
// Built by helpers/stand_in_device.py, loaded by torch_sdaa.py. Autocast casts convolutions and matrix products, as real devices do.
#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/autocast_mode.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/TensorFactories.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

using namespace at;

namespace {

constexpr auto SDAA = DeviceType::PrivateUse1;
thread_local DeviceIndex current = 0;
DeviceIndex devices = 2;

struct SdaaAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t size) override {
    void* memory = size ? c10::alloc_cpu(size) : nullptr;
    return {memory, memory, &c10::free_cpu, Device(SDAA, current)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }
  void copy_data(void* to, const void* from, size_t size) const override { std::memcpy(to, from, size); }
};
SdaaAllocator allocator;
REGISTER_ALLOCATOR(SDAA, &allocator);

// One device after another; there is nothing to wait for, so streams and events do nothing.
struct SdaaGuard final : c10::impl::DeviceGuardImplInterface {
  static constexpr DeviceType static_type = SDAA;
  DeviceType type() const override { return SDAA; }
  Device getDevice() const override { return Device(SDAA, current); }
  void uncheckedSetDevice(Device device) const noexcept override {
    if (device.index() >= 0) current = device.index();
  }
  void setDevice(Device device) const override {
    TORCH_CHECK(device.index() < devices, "device ", device, " is invalid");
    uncheckedSetDevice(device);
  }
  Device exchangeDevice(Device device) const override {
    Device before = getDevice();
    setDevice(device);
    return before;
  }
  DeviceIndex deviceCount() const noexcept override { return devices; }
  c10::Stream getStream(Device device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, device.index() < 0 ? getDevice() : device);
  }
  c10::Stream getNewStream(Device device, int) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  void record(void**, const c10::Stream&, const DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, SdaaGuard);

struct OnDevice {  // until the end of the block
  DeviceIndex before = current;
  explicit OnDevice(std::optional<Device> device) {
    if (device && device->index() >= 0) current = device->index();
  }
  ~OnDevice() { current = before; }
};

const c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);

ScalarType or_default(std::optional<ScalarType> dtype) {
  return dtype.value_or(typeMetaToScalarType(at::get_default_dtype()));
}

Tensor new_empty(IntArrayRef size, std::optional<ScalarType> dtype, std::optional<Layout>,
                 std::optional<Device> device, std::optional<bool>, std::optional<MemoryFormat> format) {
  OnDevice on(device);
  return at::detail::empty_generic(size, &allocator, keys, or_default(dtype), format);
}

Tensor new_empty_strided(IntArrayRef size, IntArrayRef stride, std::optional<ScalarType> dtype, std::optional<Layout>,
                         std::optional<Device> device, std::optional<bool>) {
  OnDevice on(device);
  return at::detail::empty_strided_generic(size, stride, &allocator, keys, or_default(dtype));
}

// The same memory, seen as a CPU tensor.
Tensor host(const Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  auto options = at::TensorOptions().dtype(tensor.dtype());
  return at::from_blob(const_cast<void*>(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(), options);
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  host(to).copy_(host(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}

Scalar local_scalar(const Tensor& tensor) { return host(tensor).item(); }

const Tensor& set_size(const Tensor& self, IntArrayRef size, std::optional<MemoryFormat>) {
  auto* tensor = self.unsafeGetTensorImpl();
  tensor->set_sizes_contiguous(size);
  const size_t bytes = (tensor->numel() + tensor->storage_offset()) * tensor->itemsize();
  auto storage = self.storage();
  if (storage.nbytes() < bytes) {
    auto memory = allocator.allocate(bytes);
    if (storage.nbytes()) std::memcpy(memory.get(), storage.data(), storage.nbytes());
    storage.set_data_ptr(std::move(memory));
    storage.set_nbytes(bytes);
  }
  return self;
}

Tensor& set_storage_and_shape(Tensor& self, Storage storage, int64_t offset, IntArrayRef size, IntArrayRef stride) {
  auto* tensor = self.unsafeGetTensorImpl();
  tensor->set_storage_keep_dtype(storage);
  tensor->set_storage_offset(offset);
  if (stride.data() == nullptr || stride.size() != size.size())
    tensor->set_sizes_contiguous(size);
  else
    tensor->set_sizes_and_strides(size, stride);
  return self;
}

Tensor& set_storage(Tensor& self, Storage storage) {
  const int64_t count = storage.nbytes() / self.dtype().itemsize();
  return set_storage_and_shape(self, storage, 0, {count}, {1});
}

// Convolutions of other devices don't reach the general fallback.
Tensor convolve(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                c10::SymIntArrayRef stride, c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed,
                c10::SymIntArrayRef output_padding, c10::SymInt groups) {
  std::optional<Tensor> host_bias;
  if (bias && bias->defined()) host_bias = host(*bias);
  return at::convolution_symint(host(input), host(weight), host_bias, stride, padding, dilation, transposed,
                                output_padding, groups)
      .to(input.device());
}

std::tuple<Tensor, Tensor, Tensor> convolve_backward(
    const Tensor& gradient, const Tensor& input, const Tensor& weight, c10::SymIntArrayRef stride,
    c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed, c10::SymIntArrayRef output_padding,
    c10::SymInt groups, std::array<bool, 3> mask) {
  std::vector<c10::SymInt> bias_size{weight.sym_size(0)};
  auto [to_input, to_weight, to_bias] = at::convolution_backward_symint(
      host(gradient), host(input), host(weight), bias_size, stride, padding, dilation, transposed, output_padding,
      groups, mask);
  auto moved = [&](const Tensor& tensor) { return tensor.defined() ? tensor.to(input.device()) : tensor; };
  return {moved(to_input), moved(to_weight), moved(to_bias)};
}

void on_the_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) { at::native::cpu_fallback(op, stack); }

}  // namespace

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", new_empty);
  m.impl("empty_strided", new_empty_strided);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", local_scalar);
  m.impl("resize_", set_size);
  m.impl("set_.source_Storage", set_storage);
  m.impl("set_.source_Storage_storage_offset", set_storage_and_shape);
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("unfold", TORCH_FN(at::native::unfold));
  m.impl("convolution_overrideable", convolve);
  m.impl("convolution_backward_overrideable", convolve_backward);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_the_cpu>()); }

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) { m.fallback(torch::CppFunction::makeFallthrough()); }

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  KERNEL_PRIVATEUSEONE(conv2d, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(matmul, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(bmm, lower_precision_fp)
}

extern "C" {
int sdaa_current_device() { return current; }
void sdaa_set_device(int index) { current = index; }
void sdaa_set_device_count(int count) { devices = count; }
}
